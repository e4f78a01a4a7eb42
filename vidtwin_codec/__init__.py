"""vidtwin: a command-line neural video codec around the VidTwin autoencoder."""

__version__ = "0.1.0"
