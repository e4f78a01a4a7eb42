"""Latents as data: read them by clip, frame or time, train on them, mix, export and import them."""
