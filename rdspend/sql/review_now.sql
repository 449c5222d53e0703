-- What counts for each question now, by amount. In: review_piece, wanted.
SELECT w.number, p.activity, p.tagger, sum(p.weighs) AS amount, sum(p.weighs * p.confidence) / nullif(sum(p.weighs), 0) AS confidence
FROM wanted AS w JOIN review_piece AS p ON p.family = w.family AND (w.whose = '' OR p.whose = w.whose)
GROUP BY ALL ORDER BY w.number, amount DESC, p.activity, p.tagger
