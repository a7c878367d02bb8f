"""From a picture back to the latent code of a network: projection."""
