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
    "clearing": mark("Clearing the camera"),
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
    "reader_gone": mark("Whoever received it broke the connection"),
    "font_missing": mark("This computer has no font for Chinese"),
    "typesetting_failed": mark("The PDF could not be made"),
    "target_failed": mark("It could not be written"),
    "opening_wrong": mark("An opening that does not fit its entry; the entry itself was taken in"),
    # why people removed what shows a person behind entries
    "retention_over": mark("Its time of keeping is over"),
    "asked_by_person": mark("The person asked for it"),
    "ordered": mark("An authority ordered it"),
    "stated_wrongly": mark("It was stated wrongly"),
    "fork": mark("Two different histories of one station"),
    "done": mark("Done"),
    # why a station did not carry a command out
    "expired": mark("The command came too late"),
    "from_future": mark("The station's clock is behind the hub's"),
    "clock_unsynchronised": mark("The station's clock is not synchronised"),
    "unknown_kind": mark("A command of a newer version"),
    "bad_body": mark("The command's content cannot be read"),
    "not_approved": mark("The log does not prove that two people stand for it"),
    "release_off": mark("Clearing is switched off at this station"),
    "hold_unknown": mark("The station knows no such hold in force"),
    "grant_known": mark("The station has a grant of this number already"),
    "pin_missing": mark("A new officer needs a PIN"),
    "bad_rotation": mark("The rotation does not follow from the keys that the station knows"),
}

ENTRY_TYPES = {
    "station.started.v1": mark("Station started"),
    "docking.started.v1": mark("Offload started"),
    "segment.sealed.v1": mark("Recording sealed"),
    "docking.closed.v1": mark("Offload finished"),
    "camera.unlocked.v1": mark("Recorder unlocked"),
    "camera.docked.v1": mark("Camera put into a bay"),
    "camera.checked.v1": mark("Camera checked before duty"),
    "camera.checked_out.v1": mark("Camera checked out (earlier form)"),
    "camera.left.v1": mark("Camera taken out (earlier form)"),
    "camera.returned.v1": mark("Camera returned (earlier form)"),
    "camera.overdue.v1": mark("Camera overdue (earlier form)"),
    "camera.checked_out.v2": mark("Camera checked out"),
    "camera.left.v2": mark("Camera taken out"),
    "camera.returned.v2": mark("Camera returned"),
    "camera.overdue.v2": mark("Camera overdue"),
    "opening.removal_requested.v1": mark("Removal of a personal detail requested"),
    "opening.removed.v1": mark("Personal detail removed"),
    "device.refused.v1": mark("Device refused"),
    "release.intended.v1": mark("Clearing of a camera begins"),
    "release.finished.v1": mark("Clearing of a camera ended"),
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
    "log.exported.v1": mark("Log entries exported"),
    "log.export_finished.v1": mark("Export of log entries ended"),
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
    "command.requested.v1": mark("Command requested"),
    "command.approved.v1": mark("Command approved"),
    "command.withdrawn.v1": mark("Command withdrawn"),
    "command.issued.v1": mark("Command issued"),
    "command.answered.v1": mark("Command answered"),
    "key.rotation_requested.v1": mark("Key rotation requested"),
    "key.rotated.v1": mark("Key rotated"),
}

OFFLOADS = {  # of a camera that was taken out
    "safe": mark("everything was saved"),
    "copying": mark("it was still being copied"),
    "incomplete": mark("it was not complete"),
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

COMMAND_KINDS = {
    "roster.v1": mark("Officers at the dock"),
    "policy.v1": mark("What is asked of cameras"),
    "hold.v1": mark("Hold"),
    "hold_lifted.v1": mark("Hold lifted"),
    "grant.v1": mark("Grant to view"),
    "grant_revoked.v1": mark("Grant revoked"),
    "key_rotated.v1": mark("New key of the hub"),
    "release.v1": mark("Clearing of a camera"),
    "disposition.v1": mark("Disposition of footage"),
}

COMMAND_STATES = {
    "requested": mark("Waits for a second person"),
    "approved": mark("Approved, about to be sent"),
    "withdrawn": mark("Withdrawn"),
    "waiting": mark("Waits for the station"),
    "delivered": mark("Sent, not answered yet"),
    "accepted": mark("Carried out"),
    "refused": mark("Refused by the station"),
    "expired": mark("Came too late"),
    "lost": mark("Never carried out: the hub was restored from a backup"),
}

COMMAND_FIELDS = {
    "officer": mark("Officer"),
    "minimum_charge_percent": mark("Charge at least, percent"),
    "minimum_minutes": mark("Room for at least, minutes"),
    "duty_minutes": mark("A duty lasts, minutes"),
    "hold_id": mark("Hold (id)"),
    "camera": mark("Camera"),
    "docking": mark("Offload (id)"),
    "file_sha256": mark("File (SHA-256)"),
    "reason": mark("Reason"),
    "grant_id": mark("Grant (id)"),
    "holder": mark("Account"),
    "purpose": mark("Purpose"),
    "valid_seconds": mark("Good for, seconds"),
    "until": mark("Until"),
    "disposition_id": mark("Disposition (id)"),
    "file_sha256s": mark("Files"),
    "basis": mark("Basis"),
}
