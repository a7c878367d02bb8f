"""What users ask for, as files: pictures, grids, mixing tables, films and reports.

Every job is a function of a frozen request and a model; none knows the command line. Long ones report through a
callback ``progress(done, total)``.
"""
