"""The pool manager: decides every tick how many instances serve and stand ready, and sees to it (S4)."""
