//! Cuts a stream of bytes into JSON documents, one a line. It must never hold more than one line beyond its
//! limit.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};
use futures::{Stream, stream};
use http_body_util::BodyExt;
use hyper::body::Body;

use crate::Error;

/// Reads one message a line, as `read` does, until the body ends or something is wrong with it; that error is the last
/// item.
pub(crate) fn messages<B, T>(
    body: B,
    longest: usize,
    read: fn(&[u8]) -> Result<T, Error>,
) -> impl Stream<Item = Result<T, Error>> + Send
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    Error: From<B::Error>,
    B::Error: Send,
    T: Send,
{
    let reader = Reader { body, pending: BytesMut::new(), ready: VecDeque::new(), longest };
    stream::unfold(Some(reader), move |reader| async move {
        let mut reader = reader?;
        match reader.next_line().await {
            Ok(Some(line)) => match read(&line) {
                Ok(message) => Some((Ok(message), Some(reader))),
                Err(why) => Some((Err(why), None)),
            },
            Ok(None) => None,
            Err(why) => Some((Err(why), None)),
        }
    })
}

struct Reader<B> {
    body: B,
    pending: BytesMut,
    ready: VecDeque<Bytes>,
    longest: usize,
}

impl<B: Body<Data = Bytes> + Unpin> Reader<B>
where
    Error: From<B::Error>,
{
    async fn next_line(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Ok(Some(line));
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            if let Ok(data) = frame?.into_data() {
                self.take(&data)?;
            }
        }
    }

    fn take(&mut self, data: &[u8]) -> Result<(), Error> {
        let looked_at = self.pending.len();
        self.pending.extend_from_slice(data);
        let mut from = looked_at;
        while let Some(found) = self.pending[from..].iter().position(|byte| *byte == b'\n') {
            let line = self.pending.split_to(from + found).freeze();
            self.pending.advance(1);
            self.ready.push_back(line);
            from = 0;
        }
        if self.pending.len() > self.longest { Err(Error::TooLong) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use http_body_util::StreamBody;
    use hyper::body::Frame;

    use super::*;

    async fn read(chunks: &[&'static str], longest: usize) -> Vec<Result<u32, Error>> {
        let frames: Vec<_> = chunks.iter().map(|chunk| Ok::<_, Error>(Frame::data(Bytes::from(*chunk)))).collect();
        let number = |line: &[u8]| Ok(serde_json::from_slice(line)?);
        messages(StreamBody::new(stream::iter(frames)), longest, number).collect().await
    }

    #[tokio::test]
    async fn lines_do_not_depend_on_where_frames_end() {
        let numbers = read(&["1", "2\n3\n", "4", "5\n6"], 100).await;
        assert_eq!(numbers.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [12, 3, 45]);
    }

    #[tokio::test]
    async fn a_line_without_end_is_refused() {
        assert!(matches!(read(&["1234567890"], 5).await[..], [Err(Error::TooLong)]));
    }

    #[tokio::test]
    async fn what_is_no_message_ends_the_stream() {
        assert!(matches!(read(&["x\n1\n"], 100).await[..], [Err(Error::Message(_))]));
    }
}
