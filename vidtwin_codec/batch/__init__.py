"""Many files at once: what to do (:mod:`.plan`), who does it (:mod:`.engine`), what was done (:mod:`.records`)."""
