"""Another program, watched from outside: its processes, and what they count inside themselves."""
