"""How the guest's NIC is backed: one file for each mode."""
