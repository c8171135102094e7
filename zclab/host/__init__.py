"""What runs on a host, through its runner: netdevs, domains, CPU time, copies, consoles."""
