"""Planning and executing trials."""
