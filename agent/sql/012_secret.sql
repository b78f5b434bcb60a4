-- Dockings of the secret lane (agent/secretlane.py) that were stated, in the commit of their event. A folder of the vault
-- that is not among them was finished by an agent that was stopped before it could state it.
CREATE TABLE secret_kept (
    id TEXT PRIMARY KEY
) STRICT;
