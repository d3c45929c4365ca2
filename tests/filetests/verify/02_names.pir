; Breaks rule 2.
program @"" { }
; ---- expected
; program: has no name (rule 2)
