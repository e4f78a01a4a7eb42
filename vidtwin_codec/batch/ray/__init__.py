"""The engine of ``vidtwin batch`` that spreads files, and parts of long ones, over a Ray cluster."""
