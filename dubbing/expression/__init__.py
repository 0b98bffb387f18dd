"""Expression of a face in a picture: taken away, or put there, before anything speaks. See `units`, `bend`, `latent`."""
