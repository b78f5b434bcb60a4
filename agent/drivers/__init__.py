"""Recorders that need a command before they become a disk. No real recorder was ever tried with this code.

table.py   the commands, as data of a profile        driver.py   the calls that the dock makes, over any transport
record.py  the 89-byte record of serial and names    ascii.py    text over a serial line or USB bulk endpoints
links.py   a serial line, a USB interface            scsi.py     vendor commands over SG_IO
process.py the process that drives one recorder, for agent/unlocking.py
"""
