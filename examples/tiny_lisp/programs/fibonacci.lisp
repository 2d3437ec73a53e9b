; Numbers only: every call makes an environment, and all of them die at once.
(define fib (lambda (n) (if (< n 2) n (+ (fib (- n 1)) (fib (- n 2))))))
(display (fib 20))
(newline)
