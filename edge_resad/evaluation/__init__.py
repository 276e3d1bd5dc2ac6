"""How good a bundle is: metrics, protocol and report. Never imports torch."""
