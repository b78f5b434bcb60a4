"""Tests in a virtual dock: our units, our installer and cameras on USB, before a real kernel. `lab.Lab` says how."""
