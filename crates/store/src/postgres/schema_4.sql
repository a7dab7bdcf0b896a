-- True where somebody called the delivery off while an engine had it in memory: what would have it wait ends it then.
ALTER TABLE queue ADD COLUMN cancel_wanted boolean NOT NULL DEFAULT false;
