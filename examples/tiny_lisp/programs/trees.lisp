; A tree that stays, and trees that go; a vector that is overwritten all the time.
(define tree (lambda (depth)
  (if (= depth 0) '() (cons (tree (- depth 1)) (tree (- depth 1))))))
(define count (lambda (tree)
  (if (null? tree) 1 (+ (count (car tree)) (count (cdr tree))))))
(define long (tree 11))
(define slots (make-vector 100 '()))
(define churn (lambda (n)
  (if (= n 0) 'done
    (begin
      (vector-set! slots (- n (* 100 (quotient n 100))) (tree 7))
      (churn (- n 1))))))
(display (churn 300))
(newline)
(gc)
(display (count long))
(display " ")
(display (count (vector-ref slots 42)))
(newline)
