"""How good it is: measured, compared with other codecs, and shown."""
