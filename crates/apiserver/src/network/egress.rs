//! Egress policies on their way to container-network, and what they refused on its way back.

use std::sync::Arc;

use bulkhead_api::container::ContainerConfiguration;
use bulkhead_api::egress::{EgressRule, EgressTarget};
use bulkhead_network_control as control;

use crate::error::printable;
use crate::service::Service;

/// A container's policy, as container-network takes it.
pub(super) fn policy(configuration: &ContainerConfiguration) -> Option<control::EgressPolicy> {
    let policy = configuration.egress.as_ref()?;
    Some(control::EgressPolicy { allow: policy.allow.iter().map(rule).collect() })
}

fn rule(rule: &EgressRule) -> control::EgressRule {
    let target = match &rule.target {
        EgressTarget::Subnet(address, prefix_length) => {
            control::EgressTarget::Subnet { address: *address, prefix_length: *prefix_length }
        }
        EgressTarget::Name(name) => control::EgressTarget::Name { name: name.clone() },
    };
    control::EgressRule { target, ports: rule.ports.map(|(first, last)| control::PortSpan { first, last }) }
}

/// Makes an event of each refusal, as long as the daemon lives.
pub(crate) fn tell_denials(service: &Arc<Service>) {
    let Some(mut denials) = service.networks.denials() else { return };
    let service = Arc::clone(service);
    tokio::spawn(async move {
        while let Some(denial) = denials.recv().await {
            if let Ok(container) = service.containers.find(&denial.container_id) {
                container.tell(
                    "egress-denied",
                    &[
                        ("destination", printable(&denial.destination)),
                        ("protocol", printable(&denial.protocol)),
                    ],
                );
            }
        }
    });
}
