"""Where the host comes from: emulated here, or reached over SSH."""
