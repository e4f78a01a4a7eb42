"""``python -m vidtwin_codec`` is the ``vidtwin`` command."""

from vidtwin_codec.cli.main import main

main()
