"""Codes that people see, each with its English words; the .po file holds the Chinese. Pure data.

A code of an agent or of the log that is missing here is shown as it came, so a newer station never breaks a page.
"""

from __future__ import annotations

from hub.language import mark

BAY_STATES = {
    "empty": mark("Free"),
    "listing": mark("Reading the card"),
    "copying": mark("Copying"),
    "safe": mark("Saved, safe to remove"),
    "recognising": mark("Recognising"),
    "refused": mark("Device refused"),
    "storm": mark("Loose contact"),
    "no_card": mark("No card"),
    "attention": mark("Needs attention"),
    "failed": mark("Failed, needs attention"),
    "unknown": mark("State unknown"),
}

LABELS = {
    "zero_length": mark("Empty file"),
    "truncated": mark("Cut off"),
    "unplayable": mark("Not playable"),
    "gaps": mark("Unreadable parts"),
    "changed": mark("Changed while copied"),
}

LABEL_EXPLANATIONS = {
    "zero_length": mark("The camera lists this file with a length of zero. It is kept as found."),
    "truncated": mark("The recording breaks off: its container ends before its content does."),
    "unplayable": mark("No player can open this file. It is kept as found."),
    "gaps": mark("The card could not be read everywhere. The copy holds zeros there; the places are recorded."),
    "changed": mark("The file changed on the camera while it was copied."),
}

REASONS = {
    "complete": mark("Complete"),
    "agent_stopped": mark("The station's program was stopped while copying"),
    "gaps": mark("Parts of the card cannot be read"),
    "read_fault": mark("Parts of the card cannot be read"),
    "unreadable_parts": mark("Folders or files of the card cannot be read"),
    "unreadable_files": mark("Files of the card could not be saved"),
    "changed_while_copied": mark("Files changed while they were copied"),
    "target_taken": mark("A name in the vault was taken already"),
    "internal": mark("The station's program made an error"),
    "settings_invalid": mark("The station's settings are not valid"),
    "source_unreadable": mark("The card cannot be read"),
    "not_a_file_system": mark("No known file system on the card"),
    "source_empty": mark("No file on the card"),
    "source_stalled": mark("The camera stopped answering"),
    "inspection_failed": mark("The card cannot be looked at"),
    "driver_failed": mark("The recorder did not carry out its unlock commands"),
    "keyboard": mark("Acts as a keyboard or mouse"),
    "network": mark("Acts as a network device"),
    "unknown_device": mark("A device that is no camera"),
    "replug_storm": mark("Plugged in and out too often"),
    "source_gone": mark("The camera was taken out while copying"),
    "vault_full": mark("The station's disk is full"),
    "vault_read_only": mark("The station's disk is read-only"),
    "vault_unwritable": mark("The station's disk fails"),
    "vault_locked": mark("Another program uses the station's disk"),
    "readback_mismatch": mark("The station's disk returns wrong data"),
    "store_untrusted": mark("The station's database is damaged"),
    "key_unreadable": mark("The station's key cannot be read"),
    # why the hub did not take a message in, or froze a station
    "bad_format": mark("Not in a valid format"),
    "bad_topic": mark("Sent under a wrong topic"),
    "wrong_source": mark("Speaks in the name of another station"),
    "unprocessable": mark("Cannot be processed"),
    "projection_failed": mark("Logged, but cannot be indexed"),
    "bad_signature": mark("The signature is not valid"),
    "unknown_station": mark("The station is not enrolled"),
    "unknown_type": mark("An event of a newer version"),
    "station_frozen": mark("The station is frozen"),
    "not_for_stations": mark("A statement that is not for stations to make"),
    "fork": mark("Two different histories of one station"),
}

ENTRY_TYPES = {
    "station.started.v1": mark("Station started"),
    "docking.started.v1": mark("Offload started"),
    "segment.sealed.v1": mark("Recording sealed"),
    "docking.closed.v1": mark("Offload finished"),
    "camera.docked.v1": mark("Camera put into a bay"),
    "camera.checked.v1": mark("Camera checked before duty"),
    "camera.checked_out.v1": mark("Camera checked out"),
    "camera.left.v1": mark("Camera taken out"),
    "camera.returned.v1": mark("Camera returned"),
    "camera.overdue.v1": mark("Camera overdue"),
    "device.refused.v1": mark("Device refused"),
    "station.enrolled.v1": mark("Station enrolled"),
    "station.frozen.v1": mark("Station frozen"),
    "envelope.refused.v1": mark("Message refused"),
    "account.created.v1": mark("Account created"),
    "account.change_requested.v1": mark("Change of an account requested"),
    "account.change_decided.v1": mark("Change of an account decided"),
    "account.second_factor_set.v1": mark("Second factor set up"),
    "account.signed_in.v1": mark("Signed in"),
    "bundle.exported.v1": mark("Footage exported"),
    "bundle.finished.v1": mark("Export ended"),
    "log_reader.added.v1": mark("Log reader admitted"),
    "log_reader.revoked.v1": mark("Log reader revoked"),
    "log.restored.v1": mark("Log refilled after a restore"),
    "witness.offered.v1": mark("Witness key offered"),
    "witness.added.v1": mark("Witness accepted"),
    "witness.removed.v1": mark("Witness removed"),
    "witness_policy.set.v1": mark("Witness policy set"),
    "witness.refused.v1": mark("Witness contradicts the log"),
    "log.refused.v1": mark("Station refuses the log"),
    "log.cleared.v1": mark("Station accepts the log again"),
}

VERDICTS = {
    "ready": mark("Ready for duty"),
    "attention": mark("Usable, with remarks"),
    "not_ready": mark("Not ready for duty"),
}

CLOCKS = {
    "synchronised": mark("synchronised"),
    "unsynchronised": mark("not synchronised"),
    "unknown": mark("unknown"),
}

CHANGES = {
    "create": mark("New account"),
    "role": mark("Change of role"),
    "disable": mark("Close the account"),
    "enable": mark("Open the account again"),
    "password_reset": mark("New first password"),
    "second_factor_reset": mark("Remove the second factor"),
}

ROLES = {
    "officer": mark("Enforcement officer"),
    "custodian": mark("Custodian"),
    "section_head": mark("Section head"),
    "equipment_office": mark("Equipment office"),
    "approving_leader": mark("Approving leader"),
    "records_custodian": mark("Records custodian"),
    "auditor": mark("Auditor"),
    "administrator": mark("Administrator"),
}
