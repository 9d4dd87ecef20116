//! What a container holds, under another name.

use std::sync::PoisonError;
use std::time::Duration;

use bulkhead_api::error::ApiError;
use bulkhead_network_control::{Client, ClientError, RENAMING_GENERATION, RenameRequest, Reply, Request};

use super::super::from_client;
use super::super::held::Held;
use super::{Link, within_limit};
use crate::error::invalid_state;

/// A live daemon answers at once.
const QUESTION_LIMIT: Duration = Duration::from_secs(5);

impl Link {
    /// What a container holds belongs to another name. A daemon that dies meanwhile is told of the name
    /// that this then ends with: by what is held.
    pub(in crate::network) async fn rename(
        &self,
        renaming: RenameRequest,
        held: Held,
    ) -> Result<(), ApiError> {
        let (old, new) = (renaming.container_id.clone(), renaming.new_container_id.clone());
        if let Some(client) = self.current() {
            if !self.knows_renaming().await.map_err(from_client)? {
                return Err(invalid_state(format!(
                    "container-network was started by an earlier version: container '{old}' can be renamed when it is stopped"
                ))
                .with_hint(format!("Stop it first: container stop {old}")));
            }
            within_limit(client.request(Request::Rename(renaming))).await.map_err(from_client)?;
        }
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(problem) = problems.remove(&old) {
            problems.insert(new.clone(), problem);
        }
        drop(problems);
        let mut all = self.held();
        all.remove(&old);
        all.insert(new, held);
        Ok(())
    }

    /// Tells of new names; those that are not heard wait for the next daemon.
    pub(super) async fn complete_renamings(&self, client: &Client) -> Result<(), ClientError> {
        let all = self.renamings.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if all.is_empty() {
            return Ok(());
        }
        if !self.knows_renaming().await? {
            tracing::error!(
                "cannot complete a renaming: container-network was started by an earlier version"
            );
            return Ok(());
        }
        for renaming in all {
            match client.request(Request::Rename(renaming.clone())).await {
                Err(ClientError::Refused(failure)) => {
                    tracing::error!("cannot complete a renaming: {failure}")
                }
                outcome => drop(outcome?),
            }
            let mut renamings = self.renamings.lock().unwrap_or_else(PoisonError::into_inner);
            renamings.retain(|other| *other != renaming);
        }
        Ok(())
    }

    /// Asks on a connection of its own, which an earlier daemon ends over the question.
    async fn knows_renaming(&self) -> Result<bool, ClientError> {
        let asked = async {
            let client = Client::connect(&self.socket).await?;
            client.request(Request::Generation).await
        };
        match tokio::time::timeout(QUESTION_LIMIT, asked).await {
            Ok(Ok((Reply::Generation(generation), _))) => Ok(generation >= RENAMING_GENERATION),
            Ok(Ok(_) | Err(ClientError::Closed | ClientError::Refused(_))) | Err(_) => Ok(false),
            Ok(Err(error)) => Err(error),
        }
    }

    pub(in crate::network) fn expect_renaming(&self, renaming: RenameRequest) {
        self.renamings.lock().unwrap_or_else(PoisonError::into_inner).push(renaming);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bulkhead_descriptor_passing::asynchronous;
    use bulkhead_network_control::{GENERATION, ReplyFrame, RequestFrame};
    use tokio::net::{UnixListener, UnixStream};

    use super::*;
    use crate::service::testing;
    use crate::settings::Settings;

    /// A daemon that knows the question about its generation, or ends connections that ask it. Whatever else it is
    /// asked, it says yes.
    async fn serve(listener: UnixListener, knows: bool) {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, knows));
        }
    }

    async fn answer(stream: UnixStream, knows: bool) {
        while let Ok(Some(frame)) = asynchronous::receive::<RequestFrame>(&stream).await {
            let RequestFrame { id, request } = frame.message;
            let reply = match request {
                Request::Generation if !knows => return,
                Request::Generation => Reply::Generation(GENERATION),
                _ => Reply::Done,
            };
            asynchronous::send(&stream, &ReplyFrame { id, result: Ok(reply) }, &[]).await.unwrap();
        }
    }

    fn renaming() -> RenameRequest {
        let (container_id, new_container_id) = ("old".to_owned(), "new".to_owned());
        RenameRequest { container_id, new_container_id, hostnames: std::collections::BTreeMap::new() }
    }

    #[tokio::test]
    async fn f17_an_earlier_daemon_is_not_asked_what_it_does_not_know() {
        for knows in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let directories = testing::directories(folder.path());
            let records = Arc::new(testing::records(folder.path()).0);
            let link = Link::new(&directories, &Settings::default(), records, Vec::new());
            tokio::spawn(serve(UnixListener::bind(directories.network_socket()).unwrap(), knows));
            let client = Arc::new(Client::connect(&directories.network_socket()).await.unwrap());
            *link.client.lock().unwrap() = Some(Arc::clone(&client));
            let outcome = link.rename(renaming(), Held::default()).await;
            match knows {
                true => outcome.unwrap(),
                false => {
                    let refused = outcome.unwrap_err();
                    assert!(refused.message.contains("an earlier version"), "{refused}");
                    assert!(!link.held().contains_key("new"));
                }
            }
            // It still listens.
            client.request(Request::ListNetworks).await.unwrap();
            // What it does not hear of, the next one does.
            link.expect_renaming(renaming());
            link.complete_renamings(&client).await.unwrap();
            assert_eq!(link.renamings.lock().unwrap().len(), usize::from(!knows));
        }
    }
}
