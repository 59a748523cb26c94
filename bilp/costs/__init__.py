"""What a run will cost before anything runs: samples, bytes, units of work, hours, from the settings and a listing alone."""
