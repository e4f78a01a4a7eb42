"""``python -m vidtwin_codec.training DATA -o weights.safetensors …``: ``vidtwin train`` where nothing is installed.

Also what ``torchrun --nproc-per-node N -m vidtwin_codec.training …`` runs.
"""

from __future__ import annotations

import sys

from vidtwin_codec.cli.main import main

if __name__ == "__main__":
    sys.argv[1:1] = ["train"]
    main()
