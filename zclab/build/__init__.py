"""From sources to artifacts: kernel, emulator, plugin, images, bundles; and the cache they are in.

Never touches a host.
"""
