"""From sources to artifacts: kernel, emulator, images."""
