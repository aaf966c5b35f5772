//! Bad documents, weights, names, parts and halves.

use super::*;

fn text(corpus: Result<Corpus, Error>) -> String {
    corpus.map(|_| "fine".to_string()).unwrap_or_else(|e| e.to_string())
}

#[test]
fn bad_documents_are_named() {
    let triples = |t: &[(usize, usize, f64)]| text(Corpus::from_triples(t.to_vec(), 3, 4));
    assert_eq!(
        triples(&[(0, 0, 1.0), (1, 2, -2.0)]),
        "E01 the count of word 2 in document 1 is -2. A count is a whole number of occurrences, \
         1 or more: leave words out that do not occur, and give frequencies as counts"
    );
    for count in [0.0, 0.5, f64::NAN, f64::INFINITY] {
        let said = triples(&[(2, 3, count)]);
        assert!(said.starts_with(&format!("E01 the count of word 3 in document 2 is {count}.")));
    }
    assert_eq!(
        triples(&[(0, 4, 1.0)]),
        "E01 a word of document 0 is 4, beyond the vocabulary. Numbers of its 4 words run from 0 to 3"
    );
    assert!(triples(&[(3, 0, 1.0)]).starts_with("E10 document of a triple is 3; there are 3"));
    assert_eq!(
        triples(&[(2, 0, 1.0)]),
        "E01 document 0 is empty (2 of 3 documents). Drop it: it says nothing of the topics"
    );
    assert!(text(Corpus::from_triples([], 0, 4)).starts_with("E02 the corpus has no"));
    assert!(text(Corpus::from_triples([(0, 0, 1.0)], 1, 1)).contains("at least 2 different"));
    let rows = |starts: &[usize]| text(Corpus::from_rows(starts, &[0, 1], &[1.0; 2], 3));
    assert_eq!(rows(&[0, 1, 2]), "fine");
    assert!(rows(&[0, 1]).starts_with("E03 the list of words has 2 values but the last of"));
    assert!(rows(&[1, 0, 2]).starts_with("E10 starts[1] is 0; it must not lie before"));
    let csv = |table: &str| text(Corpus::from_csv(table.as_bytes()));
    assert!(csv("d,w,n\na,b,1\na,c\n").starts_with("E01 the table is CSV error: record 2"));
    assert!(csv("d,w,n\na,,1\n").starts_with("E01 line 2 is \"a,,1\". A line is"));
    assert!(csv("d,w,n\na,b,1.5\n").starts_with("E01 the count on line 2 is \"1.5\""));
}

#[test]
fn weights_names_and_parts() {
    let corpus = || Corpus::from_csv("d,w,n\nx,a,2\nx,b,1\ny,c,1\nz,a,4\n".as_bytes());
    let all = corpus().and_then(|c| c.weighted(vec![1.0, 2.0, 0.5])).expect("fine");
    assert_eq!(all.total_weight(), 3.5);
    let two = all.select([2, 0]).expect("they are there");
    assert_eq!((two.label(0), two.weight(0), two.length(1)), ("z".to_string(), 0.5, 3));
    assert!(text(all.select([3])).starts_with("E10 document is 3"));
    assert!(text(all.select([])).starts_with("E02"));
    // the document of one word has no halves
    let (seen, hidden) = all.halves(3).expect("two have");
    assert_eq!((seen.label(0), seen.length(1), hidden.length(1)), ("x".to_string(), 2, 2));
    assert_eq!((seen.length(0), hidden.length(0), seen.weight(1)), (1, 2, 0.5));
    let weigh = |w: Vec<f64>| text(corpus().and_then(|c| c.weighted(w)));
    assert!(weigh(vec![1.0]).starts_with("E03 the weights has 1"));
    assert!(weigh(vec![1.0, -1.0, 1.0]).starts_with("E01 weights[1] is -1"));
    assert!(weigh(vec![0.0; 3]).contains("nothing counts"));
    let named = corpus().and_then(|c| c.with_vocabulary(["one"]));
    assert!(text(named).starts_with("E03 the vocabulary has 1 values"));
}

/// Each of four tokens is in the first half as often as any other.
#[test]
fn halves_are_fair() {
    let corpus = Corpus::from_rows(&[0, 2], &[0, 1], &[1.0, 3.0], 2).expect("fine");
    let taken = (0..4000).filter(|&s| {
        let (seen, _) = corpus.halves(s).expect("four words");
        seen.document(0).0[0] == 0
    });
    // half of the time: 5 standard errors are 158
    assert!(taken.count().abs_diff(2000) < 158);
}
