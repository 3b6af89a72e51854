"""What `blobdiag run` carries into every Python process of the program it watches.

The folder `site` beside this file comes first on the child's PYTHONPATH. It needs nothing but the
standard library, and no blobdiag in the program's environment. Two variables steer it:

- `BLOBDIAG_RECORDS`: the folder that takes one record a process; without it nothing happens.
- `BLOBDIAG_COUNT_EVERY`: N, 1 where it is missing: on average one outermost forward call in N is
  looked at, and stands for those before it. For networks of a few tens of microseconds.

Files of `site`, each one idea:

- `sitecustomize.py` gets in, and hands on to the `sitecustomize` that would have run without us;
- `blobdiag_record.py` has the record's layout, and writes it;
- `blobdiag_import.py` acts right after torch is imported;
- `blobdiag_calls.py` counts outermost calls of `nn.Module`;
- `blobdiag_state.py` reads the process's state beside its calls: versions, CUDA, memory;
- `blobdiag_marks.py` is `phase` and `progress`, for the program itself to import.

Nothing in it may break the program: an error ends the counting, and the record says why.
`environment.py` beside this package makes the environment, `record_file.py` reads the records.
"""
