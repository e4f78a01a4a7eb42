"""Joins the rooms: ``media → geometry → network → coding → container``, and the same walk backwards."""
