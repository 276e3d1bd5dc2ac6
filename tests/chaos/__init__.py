"""Chaos: the whole way from the camera to the store, killed, frozen and cut at random, and a count of what is lost."""
