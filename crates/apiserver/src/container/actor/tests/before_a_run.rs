//! Commands that come while a start waits for what comes before its machine.

use bulkhead_api::container::{CacheMode, Mount, MountKind, SyncMode};
use bulkhead_api::volume::CreateVolumeRequest;

use super::*;
use crate::volume::Purpose;

/// A container whose volume is being copied with another one.
async fn waiting(service: &Arc<Service>) -> Arc<Container> {
    let options = [("size".to_owned(), "16m".to_owned())].into();
    let request = CreateVolumeRequest { name: "data".into(), options, ..CreateVolumeRequest::default() };
    service.volumes.create(request).await.unwrap();
    let with_volume = |id| {
        let mut configuration = configuration(id, false);
        let kind = MountKind::Volume {
            name: "data".to_owned(),
            format: "ext4".to_owned(),
            cache: CacheMode::default(),
            sync: SyncMode::default(),
            anonymous: false,
        };
        let destination = "/data".to_owned();
        configuration.mounts = vec![Mount { kind, source: String::new(), destination, options: Vec::new() }];
        configuration
    };
    service.volumes.hold(&with_volume("copied"), Purpose::Copy).unwrap();
    service.containers.insert(service, with_volume("web"), StateRecord::default(), None).unwrap()
}

fn starts(container: &Arc<Container>) -> tokio::task::JoinHandle<Result<(), ApiError>> {
    let container = Arc::clone(container);
    tokio::spawn(async move { container.start(Order::default()).await.map(drop) })
}

#[tokio::test]
async fn f10_what_ends_a_start_ends_those_that_wait_behind_it() {
    for kills in [false, true] {
        let (_folder, service) = temporary();
        let container = waiting(&service).await;
        let first = starts(&container);
        container.watch().wait_for(|status| status.phase == Phase::Starting).await.unwrap();
        let second = starts(&container);
        // It has been sent by now.
        tokio::task::yield_now().await;
        let refused = container.delete(false).await.unwrap_err();
        assert!(refused.message.ends_with("is starting"), "{refused}");
        if kills {
            container.kill("KILL").await.unwrap();
        } else {
            container.stop(&StopRequest::default()).await.unwrap();
        }
        for start in [first, second] {
            let told = start.await.unwrap().unwrap_err();
            assert!(told.message.contains("was stopped while it started"), "{told}");
        }
        service.volumes.release("copied");
        assert_eq!(container.status().phase, Phase::Stopped);
        container.delete(false).await.unwrap();
    }
}
