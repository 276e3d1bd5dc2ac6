"""What this device does with the product's own path: how fast, how evenly, for how long."""
