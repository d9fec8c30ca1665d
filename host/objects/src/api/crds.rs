//! The CustomResourceDefinitions, generated from the types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

use super::{MysqlBackup, MysqlCluster, MysqlOperation, MysqlTopology};

/// The CustomResourceDefinitions of every kind, as they are installed.
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut crds = vec![MysqlBackup::crd(), MysqlCluster::crd(), MysqlOperation::crd(), MysqlTopology::crd()];
    for version in crds.iter_mut().flat_map(|crd| &mut crd.spec.versions) {
        if let Some(schema) = version.schema.as_mut().and_then(|s| s.open_api_v3_schema.as_mut()) {
            make_plain(schema);
        }
    }
    crds
}

/// The file name and the YAML text of every CRD, as kept in `deploy/crds`.
///
/// # Errors
/// When a CRD cannot be written as YAML, which no value of these types can cause.
pub fn crd_files() -> Result<Vec<(String, String)>, serde_saphyr::ser::Error> {
    crds()
        .iter()
        .map(|crd| {
            let text = serde_saphyr::to_string(crd)?;
            Ok((format!("{}.yaml", crd.spec.names.plural), text))
        })
        .collect()
}

/// Kubernetes knows no unsigned formats and warns about them at every apply. And a field that is left out is absent,
/// never null: rules need to know one way only.
fn make_plain(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    schema.format = match schema.format.as_deref() {
        Some("uint8" | "uint16" | "uint32") => Some("int32".to_owned()),
        Some("uint64" | "uint") => Some("int64".to_owned()),
        _ => schema.format.take(),
    };
    schema.properties.iter_mut().flatten().for_each(|(_, inner)| make_plain(inner));
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(inner)) => make_plain(inner),
        Some(JSONSchemaPropsOrArray::Schemas(inner)) => inner.iter_mut().for_each(make_plain),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(inner)) = &mut schema.additional_properties {
        make_plain(inner);
    }
}
