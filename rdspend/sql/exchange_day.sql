-- One rate a currency and day, its whole units and the 18 digits behind the point apart. In: exchange_said, whose sources agree.
-- Out: exchange_day (currency, day).
CREATE OR REPLACE TEMP TABLE exchange_day AS
SELECT currency, day, any_value(rate) AS rate,
    CAST(split_part(CAST(any_value(exact) AS VARCHAR), '.', 1) AS HUGEINT) AS whole,
    CAST(split_part(CAST(any_value(exact) AS VARCHAR), '.', 2) AS HUGEINT) AS fraction
FROM exchange_said
GROUP BY ALL
