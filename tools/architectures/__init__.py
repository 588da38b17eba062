"""Stock architectures of the field, built from plain torch: healthy by intention."""
