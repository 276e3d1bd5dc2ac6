"""The detector in torch: backbone, matching and scores, ready to be exported."""
