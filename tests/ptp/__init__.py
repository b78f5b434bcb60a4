"""A PTP/MTP camera in software, for tests: what it holds, how it fails, and the transports it answers on.

camera.py    what is on it: storages, folders, files of generated content of any size, faults
responder.py the PTP operations on that (ISO 15740, MTP 1.1, Android's 64-bit reads)
usb.py       its USB side: descriptors and bulk transfers, for the two below
usbredir.py  QEMU's `usb-redir` device: the camera plugged into a virtual machine
usbfs.py     umockdev: the camera as /dev/bus/usb/BBB/DDD for programs run under its preload library
ptpip.py     PTP over TCP, for libgphoto2 as an independent peer
"""
