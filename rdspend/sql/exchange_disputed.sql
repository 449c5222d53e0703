-- Days on which rates of one pair differ, with the smallest and the largest and where they stand. In: exchange_said.
SELECT currency, day, arg_min(source, exact), arg_min(origin_file, exact), arg_min(origin_row, exact),
    arg_min(rate, exact), arg_max(source, exact), arg_max(origin_file, exact), arg_max(origin_row, exact), arg_max(rate, exact)
FROM exchange_said
GROUP BY ALL
HAVING min(exact) <> max(exact)
ORDER BY currency, day
LIMIT 1
