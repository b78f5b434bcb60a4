"""Camera profiles: what a camera model is recognised by and how its names are read, as TOML beside this file.

    loading.py      TOML -> Profile, strictly                profile.py      what a profile says
    recognition.py  device facts + some paths -> Match        names.py        path -> role, fields, sidecar groups
    identity.py     several parts -> the camera's name, and disputes about it

All of it is pure but `load_profiles`. A profile only classifies: whatever it says, everything on a card is docked.
"""
