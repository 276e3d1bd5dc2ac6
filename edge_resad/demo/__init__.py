"""A whole station on a laptop: procedural parts with known defects, a synthetic camera, a broker and a report."""
