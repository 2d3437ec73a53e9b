; How many ways are there to put n queens on a board? Lists that live for a while.
(define safe? (lambda (row distance placed)
  (if (null? placed) #t
    (if (= (car placed) row) #f
      (if (= (car placed) (+ row distance)) #f
        (if (= (car placed) (- row distance)) #f
          (safe? row (+ distance 1) (cdr placed))))))))
(define place (lambda (n columns placed)
  (if (= columns 0) 1 (try n columns placed n))))
(define try (lambda (n columns placed row)
  (if (= row 0) 0
    (+ (if (safe? row 1 placed) (place n (- columns 1) (cons row placed)) 0)
       (try n columns placed (- row 1))))))
(display (place 6 6 '()))
(display " and ")
(display (place 7 7 '()))
(newline)
