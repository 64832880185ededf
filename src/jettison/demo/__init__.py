"""The demo: sample images, and the whole story told on them."""
