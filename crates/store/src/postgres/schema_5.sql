-- The numbers of open dead letters alone (kind 10), which groups of these are the sums of. Who asks for another number says nothing that would imply the
-- condition, so that this index is not taken for what one of the others is for.
CREATE INDEX tallies_dead_letters ON tallies (namespace, endpoint)
    WHERE kind + 0 = 10 AND subscription <> '00000000-0000-0000-0000-000000000000';
