-- How many records of a table (nodes or rates) one revision has and the other has not, wherever they were read. In: the two views.
SELECT (SELECT count(*) FROM (SELECT {columns} FROM before_{table} EXCEPT SELECT {columns} FROM after_{table}))
    + (SELECT count(*) FROM (SELECT {columns} FROM after_{table} EXCEPT SELECT {columns} FROM before_{table})) AS records
