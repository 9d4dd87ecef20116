//! Options of ps(1) that choose columns: `-ef`, `aux`, `-o pid,user,args`.

use super::{InvalidValue, invalid};
use crate::output::processes::{Column, column, names};

const FULL: &str = "uid,pid,ppid,c,stime,tty,time,cmd";
const BY_USER: &str = "user,pid,%cpu,%mem,vsz,rss,tty,stat,start=START,time,command";
const SHORT: &str = "pid,tty,stat,time,command";

/// The columns that these options stand for. All processes of the container are shown whatever they choose.
pub(crate) fn parse(words: &[String]) -> Result<Vec<Column>, InvalidValue> {
    let mut wanted = Vec::new();
    let (mut format, mut words) = (FULL, words.iter());
    while let Some(word) = words.next() {
        let letters = word.strip_prefix('-').unwrap_or(word);
        if letters.is_empty() || letters.starts_with('-') {
            return unknown(word);
        }
        // Without a dash they are BSD's, whose usual format is another one.
        if !word.starts_with('-') && format == FULL {
            format = SHORT;
        }
        for (index, letter) in letters.char_indices() {
            match letter {
                'e' | 'A' | 'a' | 'x' | 'w' => {}
                'f' => format = FULL,
                'u' => format = BY_USER,
                'o' => {
                    let rest = letters.get(index + 1..).filter(|rest| !rest.is_empty());
                    let Some(list) = rest.or_else(|| words.next().map(String::as_str)) else {
                        return invalid("the option 'o' of ps needs columns: -o pid,args");
                    };
                    extend(&mut wanted, list)?;
                    break;
                }
                _ => return unknown(word),
            }
        }
    }
    if wanted.is_empty() {
        extend(&mut wanted, format)?;
    }
    Ok(wanted)
}

/// `pid,args=WHAT`
fn extend(columns: &mut Vec<Column>, list: &str) -> Result<(), InvalidValue> {
    for item in list.split([',', ' ']) {
        let (name, title) = item.split_once('=').map_or((item, None), |(name, title)| (name, Some(title)));
        let Some((known, field)) = column(name) else {
            let names: Vec<&str> = names().collect();
            return invalid(format!("ps column '{name}' is not one of {}", names.join(", ")));
        };
        columns.push((title.map_or(known, str::to_owned), field));
    }
    Ok(())
}

fn unknown<T>(word: &str) -> Result<T, InvalidValue> {
    invalid(format!("'{word}' is none of the options of ps that choose columns: -ef, aux, -o COLUMN,COLUMN"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(words: &[&str]) -> Result<String, InvalidValue> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        parse(&words).map(|columns| columns.into_iter().map(|(title, _)| title).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn columns_are_those_of_ps() {
        let full = "UID PID PPID C STIME TTY TIME CMD";
        let by_user = "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND";
        for (words, shown) in [
            (&[][..], full),
            (&["-ef"], full),
            (&["-e", "-f"], full),
            (&["aux"], by_user),
            (&["-aux"], by_user),
            (&["ax"], "PID TTY STAT TIME COMMAND"),
            (&["-o", "pid,user,cmd"], "PID USER CMD"),
            (&["-opid"], "PID"),
            (&["-eo", "pid,comm=NAME", "-o", "rss"], "PID NAME RSS"),
            (&["axo", "pid args"], "PID COMMAND"),
        ] {
            assert_eq!(titles(words).unwrap(), shown, "{words:?}");
        }
        for words in
            [&["-o"][..], &["-o", "pid,zzz"], &["-o", "pid,"], &["--forest"], &["-l"], &["-"], &["-C", "sh"]]
        {
            assert!(titles(words).is_err(), "{words:?}");
        }
    }
}
