"""A KVM networking lab: build a host kernel, boot guests on it, compare network paths."""
