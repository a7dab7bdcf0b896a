-- A core::attempt::HeadBlock; NULL where there was no response, or retention took it with the bodies.
ALTER TABLE attempts ADD COLUMN response_head bytea;
